package main

import "testing"

func TestTests(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		body string // of a function with parameters t and dec, from line 4 on
		want []string
	}{
		"a quiet test":                      {"t.Log(time.Now())", nil},
		"a sleep":                           {"time.Sleep(1)", []string{"x_test.go:4: a test calls time.Sleep; inject the clock or wait for the event"}},
		"a sleep inside a function literal": {"go func() {\ntime.Sleep(1)\n}()", []string{"x_test.go:5: a test calls time.Sleep; inject the clock or wait for the event"}},
		"a skip":                            {`t.Skip("no database")`, []string{"x_test.go:4: a test calls t.Skip; make what it needs, or say why with //check:allow"}},
		"a skip with a format":              {`t.Skipf("no %s", "x")`, []string{"x_test.go:4: a test calls t.Skipf; make what it needs, or say why with //check:allow"}},
		"a decoder that skips":              {"dec.Skip()", nil},
		"a word in a text or a comment":     {`t.Log("time.Sleep(1)") // time.Sleep(1)`, nil},
		"a sleep with a reason":             {"time.Sleep(1) //check:allow the kernel gives no event", nil},
		"a reason on the line above":        {"//check:allow the kernel gives no event\ntime.Sleep(1)", nil},
		"no reason":                         {"//check:allow \ntime.Sleep(1)", []string{"x_test.go:5: a test calls time.Sleep; inject the clock or wait for the event"}},
		"a reason too far above":            {"//check:allow the kernel gives no event\n\ntime.Sleep(1)", []string{"x_test.go:6: a test calls time.Sleep; inject the clock or wait for the event"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := "package x\nimport (\"testing\"; \"time\")\nfunc TestX(t *testing.T, dec decoder) {\n" + test.body + "\n}\n"
			got, err := tests(checkoutOf(map[string]string{"x_test.go": text, "x.go": "package x\nfunc f() { time.Sleep(1) }"}))
			wantFaults(t, got, err, test.want...)
		})
	}
}

func TestTestsFollowsAnImportByAnotherName(t *testing.T) {
	t.Parallel()
	got, err := tests(checkoutOf(map[string]string{"x_test.go": "package x\nimport clock \"time\"\nfunc f() { clock.Sleep(1) }\n"}))
	wantFaults(t, got, err, "x_test.go:3: a test calls clock.Sleep; inject the clock or wait for the event")
}
