// A virtual authenticator for passkeys, provided to a page by Chromium's debugger. It confirms or
// refuses in its user's place. It is removed when any debugger session with that page ends, and a
// session of axe's ends too (`axe.js`): check accessibility first.

export class Authenticator {
  #session;
  #id;

  /**
   * Adds an authenticator to a page, with the passkeys of another if it is the same device.
   * @param {Authenticator | null} same
   */
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

  /** Whether its user touches it or types the PIN. */
  async verify(isUserVerified) {
    await this.#session.send("WebAuthn.setUserVerified", { authenticatorId: this.#id, isUserVerified });
  }
}
