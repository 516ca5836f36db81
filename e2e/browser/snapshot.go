package browser

// Snapshot is what a visitor, a crawler and a script get from one page.
type Snapshot struct {
	Page string

	content          // on the screen
	Print    content // as it is printed
	Screen   []byte  // the first screen, PNG
	Console  []string
	Failures []string // requests that failed or were answered with an error
	Click    string   // what the page says of itself before and after a click on its own button; empty without one
	Stored   []string // what its service worker has put into its caches
}

// content is what collect.js gives.
type content struct {
	Words      []string   `json:"words"`
	Kept       []string   `json:"kept"` // texts whose white space counts
	Title      string     `json:"title"`
	Language   string     `json:"language"`
	Charset    string     `json:"charset"`
	Canonical  []string   `json:"canonical"`
	Alternates []string   `json:"alternates"`
	Meta       []string   `json:"meta"`
	Data       []string   `json:"data"` // JSON-LD, white space between values taken out
	IDs        []string   `json:"ids"`
	Links      []string   `json:"links"`
	Forms      []string   `json:"forms"`
	Landmarks  []landmark `json:"landmarks"`
	Pictures   []picture  `json:"pictures"`
}

type rect [4]float64 // left, top, width, height in pixels of the document

type landmark struct {
	Name   string            `json:"name"`
	Box    rect              `json:"box"`
	Styles map[string]string `json:"styles"`
}

type picture struct {
	Name   string `json:"name"`
	Box    rect   `json:"box"`
	Broken bool   `json:"broken"`
	Look   []int  `json:"look"`  // colours on a grid, of an img
	Ink    rect   `json:"ink"`   // what is drawn of an svg
	Paint  string `json:"paint"` // its fills and strokes
}
