// Bars of how many messages came, by the second.
export function drawSpark(canvas, inSecond) {
  const scale = devicePixelRatio || 1, w = canvas.clientWidth, h = canvas.clientHeight, ctx = canvas.getContext('2d');
  if (!w) return;
  canvas.width = w * scale;
  canvas.height = h * scale;
  ctx.scale(scale, scale);
  const n = 30, each = w / n, values = Array.from({ length: n }, (_, k) => inSecond(k + 1)), top = Math.max(1, ...values);
  ctx.fillStyle = getComputedStyle(canvas).color;
  values.forEach((value, i) => {
    const bar = Math.max(2, value / top * h);
    ctx.globalAlpha = value ? .35 + .65 * (1 - (i + 1) / n) : .18;
    ctx.beginPath();
    ctx.roundRect(w - (i + 1) * each, h - bar, each - 2, bar, 1.5);
    ctx.fill();
  });
}
