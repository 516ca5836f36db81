package main

import "testing"

// rightAction is a repository in which the check finds nothing; each case breaks one file of it.
func rightAction() map[string]string {
	return map[string]string{
		"action.yml": `name: x
inputs:
  token:
    description: a token
  api-url:
    default: https://license.example
outputs:
  files:
    description: how many
runs:
  using: docker
  entrypoint: /usr/local/bin/pageflare-action
`,
		"docs/action.md": "# Action\n\n## Inputs\n\n| input | default |\n| --- | --- |\n| `token` | |\n\n### The License API\n\n| `api-url` | x |\n\n" +
			"## Outputs\n\n| `files` | n |\n\n## Modes\n\n| `check` | changes nothing |\n",
		"Dockerfile": "FROM a AS service\nUSER 65532\nFROM b AS action\nENTRYPOINT [\"/x\"]\n",
	}
}

func TestAction(t *testing.T) {
	t.Parallel()
	right := rightAction()
	for name, test := range map[string]struct {
		file, text string // a file to replace; an empty text removes it
		want       []string
	}{
		"all in order": {"Dockerfile", right["Dockerfile"], nil},
		"an input without a row": {"docs/action.md", "## Inputs\n| `token` |\n## Outputs\n| `files` |\n", []string{
			"action.yml:5: inputs api-url is not in docs/action.md; add a row `api-url` to the table of inputs"}},
		"an output documented as an input": {"docs/action.md", "## Inputs\n| `token` |\n| `api-url` |\n| `files` |\n## Outputs\n", []string{
			"action.yml:8: outputs files is not in docs/action.md; add a row `files` to the table of outputs",
			"docs/action.md:4: inputs files is not in action.yml; remove the row or declare it"}},
		"a row without an input": {"docs/action.md", "## Inputs\n| `token` |\n| `api-url` |\n| `max-size` |\n## Outputs\n| `files` |\n", []string{
			"docs/action.md:4: inputs max-size is not in action.yml; remove the row or declare it"}},
		"no documentation": {"docs/action.md", "", []string{"docs/action.md:1: no such file; write it, or change this check"}},
		"no inputs at all": {"action.yml", "outputs:\n  files:\nruns:\n  using: docker\n  entrypoint: /x\n", []string{
			"action.yml:1: has no inputs; indent their names by two spaces under inputs:",
			"docs/action.md:7: inputs token is not in action.yml; remove the row or declare it",
			"docs/action.md:11: inputs api-url is not in action.yml; remove the row or declare it"}},
		"an input that the runner takes": {"action.yml", "inputs:\n  token:\n  api-url:\n  args:\noutputs:\n  files:\nruns:\n  using: docker\n  entrypoint: /x\n", []string{
			"action.yml:4: inputs args is not in docs/action.md; add a row `args` to the table of inputs",
			"action.yml:4: input args is taken by the runner for itself; give it another name"}},
		"an entrypoint by a relative path": {"action.yml", "inputs:\n  token:\n  api-url:\noutputs:\n  files:\nruns:\n  using: docker\n  entrypoint: x\n", []string{
			"action.yml:7: runs has no absolute entrypoint; declare entrypoint: /usr/local/bin/pageflare-action"}},
		"a user in the last stage": {"Dockerfile", "FROM a\nUSER 1\nFROM b\n  user 2\nWORKDIR /x\n", []string{
			"Dockerfile:4: USER in the last stage, which is the Action; remove it: the runner decides both",
			"Dockerfile:5: WORKDIR in the last stage, which is the Action; remove it: the runner decides both"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := rightAction()
			files[test.file] = test.text
			if test.text == "" {
				delete(files, test.file)
			}
			got, err := action(checkoutOf(files))
			wantFaults(t, got, err, test.want...)
		})
	}
}
