// The provider's time. An intent lives for half a minute, and a computer's clock may be wrong by
// more. A false time from the provider can make a signature for this provider early or late, and
// nothing else. Between two answers a monotonic clock counts, so setting the computer's clock does
// not affect signatures.

/**
 * Differences up to this are ignored, in seconds: the provider's time has a resolution of one
 * second, and answers take time.
 */
const UNCERTAIN_S = 2;

export class Clock {
  #read;
  #count;
  /**
   * The last measurement: the provider's time, this computer's time and the counter, in seconds.
   * @type {{theirs: number, ours: number, count: number} | null}
   */
  #learnt = null;

  /**
   * @param {() => number} read this computer's clock, in milliseconds
   * @param {() => number} count a monotonic clock, in milliseconds since any moment
   */
  constructor(read = () => Date.now(), count = () => performance.now()) {
    this.#read = read;
    this.#count = count;
  }

  /** Seconds since 1970, by this computer's clock. */
  local() {
    return this.#read() / 1000;
  }

  /** Seconds since 1970, by the provider's clock as far as it is known. */
  now() {
    const learnt = this.#learnt;
    return learnt === null ? this.local() : learnt.theirs + this.#count() / 1000 - learnt.count;
  }

  /** How far the provider is ahead of this computer, in seconds. */
  get ahead() {
    const ahead = this.now() - this.local();
    return Math.abs(ahead) > UNCERTAIN_S ? ahead : 0;
  }

  /**
   * How far this computer's clock has advanced against the counter since the last measurement, in
   * seconds: the clock was set, or the computer slept. 0 if the difference is within the
   * measurement error. After a jump the provider has to be asked again.
   */
  get jump() {
    const learnt = this.#learnt;
    if (learnt === null) return 0;
    const jump = this.local() - learnt.ours - (this.#count() / 1000 - learnt.count);
    return Math.abs(jump) > UNCERTAIN_S ? jump : 0;
  }

  /**
   * Learns the provider's time, in whole seconds, from an answer. Call it as soon as the answer
   * arrives, because the time is that of sending.
   * @param {number} theirs
   */
  learn(theirs) {
    if (!Number.isFinite(theirs)) return;
    const ours = this.local();
    const ahead = theirs + 0.5 - ours;
    this.#learnt = { theirs: Math.abs(ahead) > UNCERTAIN_S ? theirs + 0.5 : ours, ours, count: this.#count() / 1000 };
  }
}
