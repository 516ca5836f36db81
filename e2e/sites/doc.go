// Package sites runs the Action on sites of real generators, in each profile of the optimizer, and decides by e2e/browser whether a
// visitor can tell the result from the source. README.md says what each site is for and how it is built again.
package sites
