package guard

// Site is what the guard must know of the whole site to judge one of its files. It is built once, from
// the source alone, and is safe for concurrent use afterwards.
type Site struct {
	files    map[string]bool // paths of the source's files
	policies Policies
	hints    hints // what style sheets say that changes how white space counts
}
