// A passkey's device, as Chromium's debugger lends one to a page: it says yes, or no, in its user's place. It is gone
// when any session of the debugger with that page ends, and so does one of axe's (`axe.js`): look for faults before.

export class Authenticator {
  #session;
  #id;

  /** Plugs one in at a page; with what another one holds, where it is the same device. @param {Authenticator | null} same */
  static async at(page, same = null) {
    const device = new Authenticator();
    device.#session = await page.context().newCDPSession(page);
    await device.#session.send("WebAuthn.enable");
    const { authenticatorId } = await device.#session.send("WebAuthn.addVirtualAuthenticator", {
      options: {
        protocol: "ctap2",
        transport: "internal",
        hasResidentKey: true,
        hasUserVerification: true,
        isUserVerified: true,
        automaticPresenceSimulation: true,
      },
    });
    device.#id = authenticatorId;
    for (const credential of same ? await same.credentials() : []) {
      await device.#session.send("WebAuthn.addCredential", { authenticatorId, credential });
    }
    return device;
  }

  async credentials() {
    const { credentials } = await this.#session.send("WebAuthn.getCredentials", { authenticatorId: this.#id });
    return credentials;
  }

  /** Whether its user shows a finger, or types the PIN. */
  async verify(isUserVerified) {
    await this.#session.send("WebAuthn.setUserVerified", { authenticatorId: this.#id, isUserVerified });
  }
}
