// Package browser decides whether two builds of a site are the same to a visitor. It opens each
// page of both in headless Chromium and compares what can be seen and used: words, pictures, icons,
// styles of landmarks, the console, requests, what a click does, what is printed, what crawlers
// read. It knows nothing of how a site was changed, and shares no code with the guard of the
// Action, so that it can prove the guard right or wrong.
//
// Nothing outside of the two folders is asked: a proxy on loopback answers for the site's host and
// refuses all others.
package browser
