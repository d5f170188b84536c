// The microphone of the handset: sound by WebRTC between this page and the demo's telephone line, keys
// as events beside it (RFC 4733). It knows nothing of what is said.

const PATIENCE = 10_000; // milliseconds until a connection that does not come is given up

/** Why this browser cannot talk, in words; null when it can. */
export function cannot() {
  if (!window.isSecureContext) return "A microphone needs https, or this page at localhost. The keys work as ever.";
  if (!navigator.mediaDevices?.getUserMedia || !window.RTCPeerConnection) return "This browser has no microphone for pages. The keys work as ever.";
  return null;
}

const WHY = {
  NotAllowedError: "You did not allow the microphone. The keys work as ever.",
  NotFoundError: "No microphone was found. The keys work as ever.",
  NotReadableError: "Another program has the microphone. The keys work as ever.",
};

/** How loud a stream is just now, from 0 to 1. */
class Level {
  constructor(context, stream) {
    this.analyser = context.createAnalyser();
    this.analyser.fftSize = 1024;
    this.samples = new Float32Array(this.analyser.fftSize);
    context.createMediaStreamSource(stream).connect(this.analyser);
  }

  now() {
    this.analyser.getFloatTimeDomainData(this.samples);
    const power = this.samples.reduce((sum, s) => sum + s * s, 0) / this.samples.length;
    return power > 0 ? Math.min(1, Math.max(0, 1 + Math.log10(power) / 6)) : 0; // 60 dB
  }
}

export class Microphone {
  /** `loudspeaker` is an audio element; `gone` is told when the connection is lost. */
  constructor(loudspeaker, gone) {
    this.loudspeaker = loudspeaker;
    this.gone = gone;
    this.line = null;
    this.stream = null;
    this.context = null;
    this.levels = {};
  }

  /** Asks for the microphone and connects. Resolves with the name by which it dials; fails with words
   * for the person. `said` is told what goes on. */
  async open(post, said) {
    said("Asking for your microphone");
    try {
      this.stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    } catch (error) {
      throw new Error(WHY[error.name] ?? "The microphone cannot be had. The keys work as ever.");
    }
    said("Connecting");
    this.context = new AudioContext();
    this.levels.you = new Level(this.context, this.stream);
    this.line = new RTCPeerConnection({ iceServers: [] });
    this.line.addEventListener("track", ({ track }) => {
      const heard = new MediaStream([track]);
      this.loudspeaker.srcObject = heard;
      this.levels.line = new Level(this.context, heard);
    });
    for (const track of this.stream.getAudioTracks()) this.sender = this.line.addTrack(track, this.stream);
    const up = this.connected();
    await this.line.setLocalDescription();
    const reply = await post("/handset/microphone", { sdp: this.line.localDescription.sdp });
    const answer = reply?.ok ? await reply.json().catch(() => null) : null;
    if (!answer) throw new Error(reply?.status === 503 ? "Too many people talk already. Try again in a moment." : "The telephone line did not take the microphone.");
    await this.line.setRemoteDescription({ type: "answer", sdp: answer.sdp });
    await up;
    this.line.addEventListener("connectionstatechange", () => {
      if (["failed", "closed", "disconnected"].includes(this.line?.connectionState)) this.gone();
    });
    return answer.microphone;
  }

  connected() {
    const { line } = this;
    return new Promise((done, failed) => {
      const no = () => failed(new Error("The browser and the telephone line do not reach each other."));
      const timer = setTimeout(no, PATIENCE);
      line.addEventListener("connectionstatechange", () => {
        if (line.connectionState === "connected") { clearTimeout(timer); done(); }
        if (line.connectionState === "failed" || line.connectionState === "closed") { clearTimeout(timer); no(); }
      });
    });
  }

  /** Presses a key. What is still to be sent is sent first. */
  key(key) {
    const dtmf = this.sender?.dtmf;
    if (!dtmf?.canInsertDTMF) return false;
    dtmf.insertDTMF(dtmf.toneBuffer + key, 100, 100);
    return true;
  }

  mute(muted) { for (const track of this.stream?.getAudioTracks() ?? []) track.enabled = !muted; }

  stop() {
    const { line } = this;
    this.line = null;
    line?.close();
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.context?.close();
    this.loudspeaker.srcObject = null;
    this.levels = {};
  }
}
