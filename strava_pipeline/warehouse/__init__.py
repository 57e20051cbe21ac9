"""Everything stored: tables, engine, migrations, and one module per aggregate."""
