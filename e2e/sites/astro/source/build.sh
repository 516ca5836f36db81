for page in handbook tides journal; do sed '2i layout: ../layouts/Base.astro' "$CONTENT/pages/$page.md" >"src/pages/$page.md"; done
cp -R "$CONTENT/img" public/img
npx astro build --silent
mv dist "$OUT"
