/** The sheep that a relay may turn to: one is everybody's, until it fails. */
export type SheepAddress = { readonly host: string; readonly port: number } | { readonly path: string };

/**
 * All clients of a relay use the same sheep as far as they can: a lock that is taken through one connection counts
 * there for the others.
 */
export class Upstreams {
  private at = 0;

  /** At least one address. */
  constructor(private readonly addresses: readonly SheepAddress[]) {}

  get current(): SheepAddress {
    return this.addresses[this.at]!;
  }

  /** It refused, broke or does not serve; whoever says so second changes nothing more. */
  failed(address: SheepAddress): void {
    if (address === this.current) this.at = (this.at + 1) % this.addresses.length;
  }
}

/** For logs and people. */
export function textOfAddress(address: SheepAddress): string {
  if ('path' in address) return address.path;
  return address.host.includes(':') ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`;
}
