cp "$CONTENT/harbour.json" src/harbour.json
cp -R "$CONTENT/img" public/img
npx vite build --outDir "$OUT" --logLevel warn
