// Package manifests has tests of what deploy has for orchestrators: each overlay of deploy/kubernetes is built by kustomize and held
// against the types and the schemas of the Kubernetes API, each compose file is read as `docker compose config` does. `make e2e` makes
// them. It is a module of its own: the product needs nothing of what these tests need.
package manifests
