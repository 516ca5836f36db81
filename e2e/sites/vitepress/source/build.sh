for page in handbook tides journal; do mkdir "$page" && cp "$CONTENT/pages/$page.md" "$page/index.md"; done
cp -R "$CONTENT/img" public/img
npx vitepress build . --outDir "$OUT"
