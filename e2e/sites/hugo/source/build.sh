mkdir -p content/handbook content/tides content/journal
for page in handbook tides journal; do cp "$CONTENT/pages/$page.md" "content/$page/index.md"; done
cp -R "$CONTENT/img" static/img
hugo --quiet --destination "$OUT"
