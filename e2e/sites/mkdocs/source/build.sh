for page in handbook tides journal; do cp "$CONTENT/pages/$page.md" "docs/$page.md"; done
cp -R "$CONTENT/img" docs/img
mkdocs build --quiet --site-dir "$OUT"
rm "$OUT/sitemap.xml.gz" # holds the time of the build
rm "$OUT"/fonts/*.{eot,otf,svg} # for browsers of 2012, and half of the size
