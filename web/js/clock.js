// The time as the provider has it. An intent lives for half a minute, and not every computer's clock is right to that; what is learnt
// here can make a signature early or late for this provider and do no other harm.

/** Differences that may come from the way of asking, in seconds: the provider says its time in whole ones. */
const UNCERTAIN_S = 2;

export class Clock {
  /** How far the provider is ahead of this computer, in seconds. */
  ahead = 0;
  #read;

  /** @param {() => number} read this computer's clock, in milliseconds */
  constructor(read = Date.now) {
    this.#read = read;
  }

  /** Seconds since 1970, by this computer's clock. */
  local() {
    return this.#read() / 1000;
  }

  /** Seconds since 1970, by the provider's clock as far as it is known. */
  now() {
    return this.local() + this.ahead;
  }

  /**
   * Learns from an answer that says the provider's time, in whole seconds, as soon as it is there: an answer may have been waited for, and says
   * when it was sent.
   * @param {number} theirs
   */
  learn(theirs) {
    if (!Number.isFinite(theirs)) return;
    const ahead = theirs + 0.5 - this.local();
    this.ahead = Math.abs(ahead) > UNCERTAIN_S ? ahead : 0;
  }
}
