"""Says who may read and change what: logins, rights, the operator's sessions."""
