"""Controls who may read and change which data: logins, rights, the operator's sessions."""
