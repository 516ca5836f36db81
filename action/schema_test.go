package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// reportSchema is docs/report.schema.json, closed: the document lets readers accept members that
// come later, and a test must not.
var reportSchema = sync.OnceValues(func() (*jsonschema.Schema, error) {
	b, err := os.ReadFile(filepath.Join("..", "docs", "report.schema.json"))
	if err != nil {
		return nil, err
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	closeObjects(doc)
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("report.schema.json", doc); err != nil {
		return nil, err
	}
	return c.Compile("report.schema.json")
})

// closeObjects refuses unknown members in each object that names some.
func closeObjects(v any) {
	switch v := v.(type) {
	case map[string]any:
		if _, ok := v["properties"].(map[string]any); ok {
			v["additionalProperties"] = false
		}
		for _, member := range v {
			closeObjects(member)
		}
	case []any:
		for _, item := range v {
			closeObjects(item)
		}
	}
}

// wantSchema fails unless the report is as the document says, with no member that it does not name.
func wantSchema(t *testing.T, report []byte) {
	t.Helper()
	if err := checkSchema(t, report); err != nil {
		t.Errorf("the report is not as docs/report.schema.json says: %v\n%s", err, report)
	}
}

func checkSchema(t *testing.T, report []byte) error {
	t.Helper()
	schema, err := reportSchema()
	must(t, err)
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(report))
	must(t, err)
	return schema.Validate(doc)
}

func TestTheReportIsAsItsSchemaSays(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	j.licensed(2000 * time.Hour)
	if r := j.run(); r.exit != exitOK || r.report.Site == nil {
		t.Fatalf("exit = %d, site = %v", r.exit, r.report.Site)
	}
	b, err := os.ReadFile(filepath.Join(j.ws, reportName))
	must(t, err)
	for name, change := range map[string][2]string{
		"an unknown member":  {`"mode": `, `"made_up": 1, "mode": `},
		"another version":    {`"version": 1`, `"version": 2`},
		"a wrong state":      {`"state": "fresh"`, `"state": "good"`},
		"a wrong date":       {`"expires_at": "20`, `"expires_at": "x20`},
		"an unknown in deep": {`"in_place": `, `"made_up": 1, "in_place": `},
	} {
		wrong := strings.Replace(string(b), change[0], change[1], 1)
		if wrong == string(b) || checkSchema(t, []byte(wrong)) == nil {
			t.Errorf("%s: the schema accepts it", name)
		}
	}
}
