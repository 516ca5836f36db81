for page in handbook tides journal; do cp "$CONTENT/pages/$page.md" "$page.md"; done
mkdir extra && cp -R "$CONTENT/img" extra/img
sphinx-build -q -E -b dirhtml -d "$OUT.doctrees" . "$OUT"
rm "$OUT/.buildinfo"
