package guard

// Reference is an asset that a page or sheet names and that should be in the site.
type Reference struct {
	From   string // path of the page or sheet
	Raw    string // as it is written there
	Target string // the path in the site that it resolves to; with a slash at its end for a folder
}

// References are the assets that a page loads from the site itself. Links are not among them.
func References(path string, page []byte) []Reference { return nil }

// SheetReferences are the files of the site that a style sheet loads.
func SheetReferences(path string, sheet []byte) []Reference { return nil }

// Missing are those references for which the site has no file.
func Missing(refs []Reference, has func(path string) bool) []Reference { return nil }

// Resolve resolves a reference as a browser does. base is the href of the page's base element, "" when it
// has none. local says that it stays on the site; target is then "/path?query#fragment", and an
// absolute URL otherwise. Two references with the same target are the same link.
func Resolve(pagePath, base, ref string) (target string, local bool) { return ref, false }
