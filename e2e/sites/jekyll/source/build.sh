for page in handbook tides; do
	{ sed '2i layout: page' "$CONTENT/pages/$page.md"; } >"$page.md"
done
sed '2i layout: post' "$CONTENT/pages/journal.md" >_posts/2026-03-01-wet-spring.md
cp -R "$CONTENT/img" img
find . -type f -exec touch -d "@$SOURCE_DATE_EPOCH" {} + # the site map tells when a file was written
jekyll build --quiet --destination "$OUT"
touch "$OUT/.nojekyll"
