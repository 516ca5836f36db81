package token

// SignedBy returns a set with the same keys that signs with the one of that name; false when it has none. It is for making once more a token that
// was made before another key began to sign.
func (s *KeySet) SignedBy(id string) (*KeySet, bool) {
	for header, k := range s.byHeader {
		if k.ID == id {
			return &KeySet{signing: k, header: header, byHeader: s.byHeader}, true
		}
	}
	return nil, false
}
