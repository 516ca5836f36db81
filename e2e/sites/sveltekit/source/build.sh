cp "$CONTENT/harbour.json" src/lib/harbour.json
cp -R "$CONTENT/img" static/img
npx svelte-kit sync
npx vite build --logLevel warn
mv build "$OUT"
