// Package container tries both images as their users run them: the Action as a step on a hosted
// runner and in workflows by nektos/act, the License service in a container of its own, GitHub as
// the fake of github/githubtest in the test process. run.sh brings the engine, the images and act,
// and runs these tests, which have the build tag e2e: they need all three.
//
// What one run decides is tested beside the program, in action; here it counts what the container
// makes of it: mounts, users, signals, and what is left behind.
package container
