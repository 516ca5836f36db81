cp "$CONTENT/harbour.json" harbour.json
cp -R "$CONTENT/img" public/img
npx nuxt generate --logLevel silent
cp -RL .output/public "$OUT"
