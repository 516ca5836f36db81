for page in handbook tides journal; do
	sed "2i slug: /$page/" "$CONTENT/pages/$page.md" >"docs/$page.md"
done
cp -R "$CONTENT/img" static/img
npx docusaurus build --out-dir "$OUT"
