package main

import "testing"

func TestHouse(t *testing.T) {
	t.Parallel()
	file := func(imports, body string) string {
		return "// Package x decides.\npackage x\n" + imports + "\nfunc f() {\n" + body + "\n}\n"
	}
	for name, test := range map[string]struct {
		file, text string
		want       []string
	}{
		"an end in main.go":            {"service/main.go", file(`import "os"`, "os.Exit(1)"), nil},
		"an end elsewhere":             {"service/serve.go", file(`import "os"`, "os.Exit(1)"), []string{"service/serve.go:5: calls os.Exit; return an error, and let main choose the status"}},
		"an end of a test program":     {"service/x_test.go", file(`import "os"`, "os.Exit(1)"), nil},
		"an end by another name":       {"service/serve.go", file(`import system "os"`, "system.Exit(1)"), []string{"service/serve.go:5: calls os.Exit; return an error, and let main choose the status"}},
		"the environment in main.go":   {"action/main.go", file(`import "os"`, `f(os.Getenv)`), nil},
		"the environment elsewhere":    {"action/write.go", file(`import "os"`, `f(os.Getenv)`), []string{"action/write.go:5: reads the environment by os.Getenv; take it as a value or a function from main.go"}},
		"all of it elsewhere":          {"service/oidc/x.go", file(`import "os"`, `_ = os.Environ()`), []string{"service/oidc/x.go:5: reads the environment by os.Environ; take it as a value or a function from main.go"}},
		"the environment of e2e":       {"e2e/bench/x.go", file(`import "os"`, `_ = os.Getenv("PATH")`), nil},
		"a client of one's own":        {"service/x.go", file(`import "net/http"`, `_ = &http.Client{}`), nil},
		"the default client":           {"service/x.go", file(`import "net/http"`, `_ = http.DefaultClient`), []string{"service/x.go:5: uses the default client by http.DefaultClient; take a client from the caller"}},
		"the default client in a test": {"service/x_test.go", file(`import "net/http"`, `http.Get("x")`), []string{"service/x_test.go:5: uses the default client by http.Get; take a client from the caller"}},
		"a rule that asks the time":    {"service/license/rules.go", file(`import "time"`, `_ = time.Now()`), []string{"service/license/rules.go:5: a rule asks for the time; take it as an argument"}},
		"the time elsewhere":           {"service/license/service.go", file(`import "time"`, `_ = time.Now()`), nil},
		"a reason":                     {"service/x.go", file(`import "os"`, "os.Exit(1) //check:allow the runtime has no other way"), nil},
		"a TODO with its issue":        {"service/x.go", file("", "// TODO(#12): more"), nil},
		"a TODO with the address":      {"service/x.go", file("", "// TODO: https://github.com/pageflare/ci/issues/12"), nil},
		"a TODO without":               {"service/x.go", file("", "// TODO: more"), []string{"service/x.go:5: a TODO without an issue; open one and name its number, as in TODO(#12)"}},
		"a word in a comment":          {"service/x.go", file("", "// a TODO has an issue"), nil},
		"no comment":                   {"service/x.go", "package x\n", []string{"service/x.go:1: package service has no comment; say above its package clause what is decided in it, and where the neighbour decision is"}},
		"a package of tests alone":     {"service/x_test.go", "package x\n", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := house(checkoutOf(map[string]string{test.file: test.text}))
			wantFaults(t, got, err, test.want...)
		})
	}
}

func TestHouseFindsTheCommentInAnyFile(t *testing.T) {
	t.Parallel()
	got, err := house(checkoutOf(map[string]string{"service/a.go": "package x\n", "service/b.go": "// Package x decides.\npackage x\n"}))
	wantFaults(t, got, err)
}
