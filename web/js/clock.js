// The time as the provider has it. An intent lives for half a minute, and not every computer's clock is right to that; what is learnt
// here can make a signature early or late for this provider and do no other harm. Between two answers the time is counted by a clock
// that nobody sets, so a computer whose clock is put right, or wrong, goes on signing.

/** Differences that may come from the way of asking, in seconds: the provider says its time in whole ones. */
const UNCERTAIN_S = 2;

export class Clock {
  #read;
  #count;
  /** What was learnt last: the provider's time, this computer's and the counter's at that moment, in seconds. @type {{theirs: number, ours: number, count: number} | null} */
  #learnt = null;

  /**
   * @param {() => number} read this computer's clock, in milliseconds
   * @param {() => number} count milliseconds since any moment, which nobody sets
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
   * By how many seconds this computer's clock has gone on more than the counter since the provider's time was learnt: it was set, or the computer slept.
   * 0 for what is no more than inexact. Then the provider has to be asked again.
   */
  get jump() {
    const learnt = this.#learnt;
    if (learnt === null) return 0;
    const jump = this.local() - learnt.ours - (this.#count() / 1000 - learnt.count);
    return Math.abs(jump) > UNCERTAIN_S ? jump : 0;
  }

  /**
   * Learns from an answer that says the provider's time, in whole seconds, as soon as it is there: an answer may have been waited for, and says
   * when it was sent.
   * @param {number} theirs
   */
  learn(theirs) {
    if (!Number.isFinite(theirs)) return;
    const ours = this.local();
    const ahead = theirs + 0.5 - ours;
    this.#learnt = { theirs: Math.abs(ahead) > UNCERTAIN_S ? theirs + 0.5 : ours, ours, count: this.#count() / 1000 };
  }
}
