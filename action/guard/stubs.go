package guard

// The comparisons that are still to come hold nothing equal but equal bytes.

var notCompared = []Difference{{Kind: KindInvalid, Detail: "files of this type are not compared yet"}}

func compareSheet(_, _ []byte) []Difference             { return notCompared }
func compareDeclarations(source, result string) bool    { return source == result }
func compareSVG(_, _ []byte) []Difference               { return notCompared }
func compareJSON(_, _ []byte) []Difference              { return notCompared }
func compareXML(_, _ []byte) []Difference               { return notCompared }
func comparePicture(_ string, _, _ []byte) []Difference { return notCompared }
