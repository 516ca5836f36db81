package main

import "testing"

func TestMakefile(t *testing.T) {
	t.Parallel()
	const help = "help: ## list\n\t@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST)\n"
	for name, test := range map[string]struct {
		text string
		want []string
	}{
		"all are listed":            {".PHONY: help e2e\n" + help + "e2e: x ## try\n", nil},
		"a goal that is a file":     {".PHONY: help\n" + help + "$(x): y\n\tz\n", nil},
		"a goal without a text":     {".PHONY: help e2e\n" + help + "e2e: x\n", []string{"Makefile:1: e2e has no text for help; add ## and what it does to its line"}},
		"a goal that may be a file": {".PHONY: help\n" + help + "e2e: x ## try\n", []string{"Makefile:4: e2e is not in .PHONY; add it: a file of that name would keep it from running"}},
		"a name that help does not find": {".PHONY: help E2E\n" + help + "E2E: x ## try\n",
			[]string{"Makefile:4: make help does not list E2E; widen the pattern of help"}},
		"no help": {".PHONY: x\nx: ## x\n", []string{"Makefile:1: has no help; let a goal list the others, by grep -hE"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := makefile(checkoutOf(map[string]string{"Makefile": test.text}))
			wantFaults(t, got, err, test.want...)
		})
	}
}
