export type RequestKind = 'write' | 'read' | 'remove' | 'flush' | 'other';

/**
 * What one side of a sheep has served since it started, in the terms of `dog node stat`: plain numbers, because they
 * are counted on the hot path. `active` is asked for by whoever knows it better.
 */
export class RequestCounters {
  private readonly requests: Record<RequestKind, number> = {
    write: 0,
    read: 0,
    remove: 0,
    flush: 0,
    other: 0,
  };
  private total = 0;
  private writeBytes = 0;
  private readBytes = 0;

  /** One request was answered; `bytes` is the data it carried in or out. */
  done(kind: RequestKind, bytes: number): void {
    this.total++;
    this.requests[kind]++;
    if (kind === 'write') this.writeBytes += bytes;
    else if (kind === 'read') this.readBytes += bytes;
  }

  /** Named as control clients know them: `client.write`, `peer.readBytes`. */
  named(side: 'client' | 'peer', active: number): Record<string, number> {
    const { requests, total, writeBytes, readBytes } = this;
    const values = { active, total, ...requests, writeBytes, readBytes };
    return Object.fromEntries(Object.entries(values).map(([name, value]) => [`${side}.${name}`, value]));
  }
}
