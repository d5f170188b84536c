// Everything the handset sounds like, made with WebAudio: key tones, ringing, hold music.

// ITU-T Q.23: each key is one low and one high tone.
const LOW = { 1: 697, 2: 697, 3: 697, 4: 770, 5: 770, 6: 770, 7: 852, 8: 852, 9: 852, "*": 941, 0: 941, "#": 941 };
const HIGH = { 1: 1209, 4: 1209, 7: 1209, "*": 1209, 2: 1336, 5: 1336, 8: 1336, 0: 1336, 3: 1477, 6: 1477, 9: 1477, "#": 1477 };

const note = (midi) => 440 * 2 ** ((midi - 69) / 12);

// Each tune is a loop of [start in beats, MIDI note, length in beats], written for this page.
const TUNES = {
  calm: {
    bpm: 66, beats: 16, wave: "sine", gain: 0.11, attack: 0.12, release: 0.9, glow: true,
    notes: [
      [0, 45, 4], [0, 60, 2], [1, 64, 2], [2, 67, 2], [3, 71, 2],
      [4, 41, 4], [4, 60, 2], [5, 65, 2], [6, 69, 2], [7, 72, 2],
      [8, 48, 4], [8, 64, 2], [9, 67, 2], [10, 71, 2], [11, 74, 2],
      [12, 43, 4], [12, 62, 2], [13, 67, 2], [14, 71, 2], [15, 69, 2],
    ],
  },
  lively: {
    bpm: 132, beats: 16, wave: "triangle", gain: 0.13, attack: 0.008, release: 0.1,
    notes: [
      [0, 48, .5], [1, 55, .5], [2, 48, .5], [3, 55, .5], [4, 53, .5], [5, 60, .5], [6, 53, .5], [7, 60, .5],
      [8, 48, .5], [9, 55, .5], [10, 45, .5], [11, 52, .5], [12, 50, .5], [13, 57, .5], [14, 55, .5], [15, 55, .5],
      [0, 76, .5], [.5, 79, .5], [1, 84, 1], [2.5, 83, .5], [3, 79, .75], [4, 81, .5], [4.5, 77, .5], [5, 81, 1], [6.5, 84, .5], [7, 81, .75],
      [8, 79, .5], [8.5, 76, .5], [9, 79, .5], [9.5, 81, .5], [10, 84, 1], [11.5, 81, .5], [12, 78, .5], [12.5, 81, .5], [13, 86, 1], [14, 83, .5], [14.5, 81, .5], [15, 79, .75],
    ],
  },
  classical: {
    bpm: 96, beats: 16, wave: "sawtooth", gain: 0.075, attack: 0.003, release: 0.22, pluck: true,
    notes: [
      ...[[0, 50, 57, 53], [2, 50, 57, 53], [4, 49, 57, 52], [6, 49, 57, 52], [8, 48, 57, 54], [10, 50, 58, 55], [12, 45, 55, 49], [14, 50, 57, 53]]
        .flatMap(([at, a, b, c]) => [[at, a, .5], [at + .5, b, .5], [at + 1, c, .5], [at + 1.5, b, .5]]),
      [0, 74, 1], [1, 77, .5], [1.5, 76, .5], [2, 74, .5], [2.5, 73, .5], [3, 74, 1], [4, 76, 1], [5, 79, .5], [5.5, 77, .5], [6, 76, .5], [6.5, 74, .5], [7, 73, 1],
      [8, 78, .5], [8.5, 81, .5], [9, 84, 1], [10, 82, .5], [10.5, 81, .5], [11, 79, 1], [12, 77, .5], [12.5, 76, .5], [13, 73, .5], [13.5, 76, .5], [14, 74, 2],
    ],
  },
};

export class Sounds {
  #context = null;
  #out = null;
  #on = true;
  #loop = null;
  #tune = null;
  #wanted = null;

  /** Browsers let sound start only from a click or a key. */
  wake() {
    const Context = window.AudioContext ?? window.webkitAudioContext;
    if (!Context) return;
    try {
      if (!this.#context) {
        this.#context = new Context();
        this.#out = this.#context.createGain();
        this.#out.gain.value = this.#on ? 1 : 0;
        this.#out.connect(this.#context.destination);
      }
      this.#context.resume?.();
    } catch {
      this.#context = null; // no sound device: the page works without
    }
  }

  set on(value) {
    this.#on = value;
    if (this.#out) this.#out.gain.setTargetAtTime(value ? 1 : 0, this.#context.currentTime, 0.02);
  }

  #tone(frequency, wave, at, length, gain, attack, release, to) {
    const oscillator = this.#context.createOscillator();
    const envelope = this.#context.createGain();
    oscillator.type = wave;
    oscillator.frequency.value = frequency;
    envelope.gain.setValueAtTime(0, at);
    envelope.gain.linearRampToValueAtTime(gain, at + attack);
    envelope.gain.setValueAtTime(gain, Math.max(at + attack, at + length - release));
    envelope.gain.linearRampToValueAtTime(0, at + length + 0.005);
    oscillator.connect(envelope).connect(to);
    oscillator.start(at);
    oscillator.stop(at + length + 0.02);
  }

  key(key) {
    if (!this.#context || !LOW[key]) return;
    const at = this.#context.currentTime;
    for (const frequency of [LOW[key], HIGH[key]]) this.#tone(frequency, "sine", at, 0.13, 0.09, 0.005, 0.02, this.#out);
  }

  ring() {
    if (!this.#context) return;
    const at = this.#context.currentTime;
    for (const frequency of [440, 480]) this.#tone(frequency, "sine", at, 0.9, 0.05, 0.02, 0.05, this.#out);
  }

  end() {
    if (!this.#context) return;
    const at = this.#context.currentTime;
    for (const start of [0, 0.35, 0.7]) this.#tone(425, "sine", at + start, 0.2, 0.06, 0.01, 0.02, this.#out);
  }

  /** Plays a tune until told otherwise; anything unknown is silence. */
  hold(name) {
    if (this.#wanted === name) return;
    this.quiet();
    this.#wanted = name;
    const tune = TUNES[name];
    if (!this.#context || !tune) return;
    const bus = this.#context.createGain();
    const filter = this.#context.createBiquadFilter();
    filter.type = "lowpass";
    filter.frequency.value = tune.pluck ? 2600 : tune.glow ? 1200 : 3000;
    filter.connect(bus).connect(this.#out);
    this.#tune = bus;
    const beat = 60 / tune.bpm;
    let start = this.#context.currentTime + 0.1;
    const round = () => {
      for (const [at, midi, length] of tune.notes) this.#play(tune, note(midi), start + at * beat, length * beat, filter);
      start += tune.beats * beat;
    };
    round();
    this.#loop = setInterval(() => { if (start - this.#context.currentTime < 1.5) round(); }, 400);
  }

  #play(tune, frequency, at, length, to) {
    if (!tune.pluck) {
      this.#tone(frequency, tune.wave, at, length + (tune.glow ? 0.8 : 0), tune.gain, tune.attack, tune.release, to);
      return;
    }
    const oscillator = this.#context.createOscillator();
    const envelope = this.#context.createGain();
    oscillator.type = tune.wave;
    oscillator.frequency.value = frequency;
    envelope.gain.setValueAtTime(tune.gain, at);
    envelope.gain.exponentialRampToValueAtTime(0.0008, at + length + 0.35);
    oscillator.connect(envelope).connect(to);
    oscillator.start(at);
    oscillator.stop(at + length + 0.4);
  }

  /** Stops the music. */
  quiet() {
    clearInterval(this.#loop);
    this.#wanted = null;
    if (this.#tune) {
      const tune = this.#tune;
      tune.gain.setTargetAtTime(0, this.#context.currentTime, 0.05);
      setTimeout(() => tune.disconnect(), 400);
      this.#tune = null;
    }
  }
}
