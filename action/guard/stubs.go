package guard

type hints struct{}

// Policies is the site's own Content-Security-Policy.
type Policies struct{}

var notCompared = []Difference{{Kind: KindInvalid, Detail: "files of this type are not compared yet"}}

func (s *Site) judgePage(_ string, _, _ []byte) Verdict { return refuse(notCompared...) }
