package show

import (
	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/leak"
)

// Leak is what came of a report of a leaked token.
func Leak(v leak.Verdict) api.Leak {
	return api.Leak{
		Label: label(v.Ours()), Outcome: string(v.Outcome), Kind: string(v.Kind), ID: v.ID, Account: v.AccountID,
	}
}

// LeakLabel is what GitHub is told of a token in an alert.
func LeakLabel(l leak.Label) api.LeakLabel {
	return api.LeakLabel{TokenHash: l.TokenHash, TokenType: l.TokenType, Label: label(l.True)}
}

func label(ours bool) string {
	if ours {
		return "true_positive"
	}
	return "false_positive"
}
