cp "$CONTENT/harbour.json" src/harbour.json
cp -R "$CONTENT/img" public/img
npx ng build
mv dist/harbour/browser "$OUT"
