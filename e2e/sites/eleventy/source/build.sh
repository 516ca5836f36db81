mkdir pages && cp "$CONTENT"/pages/*.md pages/
cp -R "$CONTENT/img" img
npx eleventy --quiet --output="$OUT"
# What a server sends that finds a compressed sibling
find "$OUT" -type f \( -name '*.html' -o -name '*.css' -o -name '*.js' -o -name '*.svg' -o -name '*.xml' \) | sort | while read -r file; do
	gzip --best --no-name --keep "$file"
	brotli --best --keep "$file"
done
