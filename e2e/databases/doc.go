// Package databases runs the tests of PostgreSQL on every kind of server that is promised: the
// oldest version and the newest, a pooler in transaction mode, and the simple protocol, which some
// poolers need. `make e2e` runs it; what is tested is in service/store and service.
package databases
