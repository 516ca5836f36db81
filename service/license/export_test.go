package license

// LinkBefore is the hash of a line in the form of before ends were sealed.
func (s *Service) LinkBefore(l AuditLine, previous string) string {
	l.key = s.auditKey
	return l.linkBefore(l.Seq, previous)
}
