interface Sample {
  readonly what: string;
  readonly startMs: number;
  readonly endMs: number;
}

/** How long requests took, told for any stretch of time. */
export class Latencies {
  private readonly samples: Sample[] = [];

  /** Times by performance.now. */
  add(what: string, startMs: number, endMs: number): void {
    this.samples.push({ what, startMs, endMs });
  }

  /** Requests that began since then. */
  count(fromMs: number): number {
    return this.samples.filter(({ startMs }) => startMs >= fromMs).length;
  }

  /** Median, 99th percentile and longest of each kind of request that began in the stretch. */
  say(fromMs: number, toMs: number): string {
    const within = this.samples.filter(({ startMs }) => startMs >= fromMs && startMs < toMs);
    const kinds = [...new Set(within.map(({ what }) => what))].sort();
    if (kinds.length === 0) return 'no requests';
    return kinds.map((what) => `${what} ${describe(within.filter((one) => one.what === what))}`).join('; ');
  }
}

function describe(samples: readonly Sample[]): string {
  const times = samples.map(({ startMs, endMs }) => endMs - startMs).sort((a, b) => a - b);
  const at = (part: number) => times[Math.min(times.length - 1, Math.floor(times.length * part))]!.toFixed(1);
  return `median ${at(0.5)} ms, 99 % ${at(0.99)} ms, longest ${at(1)} ms (${times.length})`;
}
