// What is painted over a picture: a canvas at the picture's resolution with undo, and the flood for filling areas.
(() => {
  const webui = (window.webui ??= {});

  const UNDO_BYTES = 256 * 2 ** 20;
  const FILL_TOLERANCE = 24;

  const surface = (width, height) => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [width, height];
    return [canvas, canvas.getContext("2d")];
  };
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  // ---- what is painted, with undo as the pixels that each change replaced ----
  class Layer {
    constructor(width, height) {
      [this.canvas, this.context] = surface(width, height);
      [this.saved, this.savedContext] = surface(width, height);
      this.done = [];
      this.undone = [];
      this.dirty = null;
      this.used = null;
    }

    get whole() {
      return [0, 0, this.canvas.width, this.canvas.height];
    }

    touch(left, top, right, bottom) {
      const area = [
        clamp(Math.floor(left), 0, this.canvas.width),
        clamp(Math.floor(top), 0, this.canvas.height),
        clamp(Math.ceil(right), 0, this.canvas.width),
        clamp(Math.ceil(bottom), 0, this.canvas.height),
      ];
      const joined = (old) =>
        old === null
          ? area
          : [Math.min(old[0], area[0]), Math.min(old[1], area[1]), Math.max(old[2], area[2]), Math.max(old[3], area[3])];
      this.dirty = joined(this.dirty);
      this.used = joined(this.used);
    }

    // Makes what was painted since the last call one step of undo.
    commit() {
      const area = this.takeDirty();
      if (area === null) return false;
      this.done.push(this.piece(area));
      this.undone = [];
      let bytes = 0;
      for (const piece of this.done) bytes += 4 * piece.canvas.width * piece.canvas.height;
      while (bytes > UNDO_BYTES && this.done.length > 1) {
        const oldest = this.done.shift();
        bytes -= 4 * oldest.canvas.width * oldest.canvas.height;
      }
      this.transfer(this.savedContext, this.canvas, area);
      return true;
    }

    // Takes back what was painted since the last commit.
    cancel() {
      const area = this.takeDirty();
      if (area !== null) this.transfer(this.context, this.saved, area);
    }

    step(from, to) {
      const piece = from.pop();
      if (!piece) return false;
      const [left, top, right, bottom] = piece.area;
      to.push(this.piece(piece.area));
      for (const context of [this.context, this.savedContext]) {
        context.clearRect(left, top, right - left, bottom - top);
        context.drawImage(piece.canvas, left, top);
      }
      this.touch(...piece.area);
      this.dirty = null;
      return true;
    }

    undo() {
      return this.step(this.done, this.undone);
    }

    redo() {
      return this.step(this.undone, this.done);
    }

    clear() {
      if (this.used === null) return false;
      const [left, top, right, bottom] = this.used;
      this.context.clearRect(left, top, right - left, bottom - top);
      this.touch(...this.used);
      return this.commit();
    }

    invert(color) {
      this.context.save();
      this.context.globalCompositeOperation = "source-out";
      this.context.fillStyle = color;
      this.context.fillRect(...this.whole);
      this.context.restore();
      this.touch(...this.whole);
      return this.commit();
    }

    takeDirty() {
      const area = this.dirty;
      this.dirty = null;
      return area !== null && area[2] > area[0] && area[3] > area[1] ? area : null;
    }

    piece(area) {
      const [left, top, right, bottom] = area;
      const [canvas, context] = surface(right - left, bottom - top);
      context.drawImage(this.saved, -left, -top);
      return { area, canvas };
    }

    transfer(context, source, [left, top, right, bottom]) {
      context.clearRect(left, top, right - left, bottom - top);
      context.drawImage(source, left, top, right - left, bottom - top, left, top, right - left, bottom - top);
    }
  }

  // The pixels joined to (x, y) whose colours differ little from it: one byte each, and the box around them.
  const floodArea = (pixels, width, height, x, y) => {
    const found = new Uint8Array(width * height);
    const seed = (y * width + x) * 4;
    const wanted = [pixels[seed], pixels[seed + 1], pixels[seed + 2], pixels[seed + 3]];
    const fits = (index) => {
      if (found[index]) return false;
      for (let channel = 0; channel < 4; channel++) {
        if (Math.abs(pixels[index * 4 + channel] - wanted[channel]) > FILL_TOLERANCE) return false;
      }
      return true;
    };
    const box = [x, y, x + 1, y + 1];
    const waiting = [y * width + x];
    while (waiting.length) {
      const start = waiting.pop();
      if (!fits(start)) continue;
      const row = Math.floor(start / width);
      let [left, right] = [start, start];
      while (left > row * width && fits(left - 1)) left--;
      while (right < (row + 1) * width - 1 && fits(right + 1)) right++;
      found.fill(1, left, right + 1);
      box[0] = Math.min(box[0], left - row * width);
      box[2] = Math.max(box[2], right - row * width + 1);
      [box[1], box[3]] = [Math.min(box[1], row), Math.max(box[3], row + 1)];
      for (const next of [left - width, left + width]) {
        if (next < 0 || next >= width * height) continue;
        let open = false;
        for (let index = next; index <= next + right - left; index++) {
          const here = fits(index);
          if (here && !open) waiting.push(index);
          open = here;
        }
      }
    }
    return { found, box };
  };

  webui.layers = { Layer, floodArea, surface };
})();
