cp "$CONTENT/harbour.json" app/harbour.json
cp -R "$CONTENT/img" public/img
npx next build
mv out "$OUT"
