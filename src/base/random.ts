import { randomBytes } from 'node:crypto';

/** The randomness seam. A seeded implementation makes a simulated cluster repeat itself exactly. */
export interface Random {
  /** Uniform integer in [0, bound). */
  below(bound: number): number;
  bytes(count: number): Buffer;
}

export const systemRandom: Random = {
  below: (bound) => randomBytes(4).readUInt32LE(0) % bound,
  bytes: (count) => randomBytes(count),
};

/** Seeded generator (xoshiro128**, Blackman and Vigna 2018), for the simulator and for tests. */
export class SeededRandom implements Random {
  private readonly state = new Uint32Array(4);

  constructor(seed: number) {
    // splitmix32 spreads a small seed over the whole state.
    let z = seed >>> 0;
    for (let i = 0; i < 4; i++) {
      z = (z + 0x9e3779b9) >>> 0;
      let t = z ^ (z >>> 16);
      t = Math.imul(t, 0x21f0aaad);
      t ^= t >>> 15;
      t = Math.imul(t, 0x735a2d97);
      this.state[i] = (t ^ (t >>> 15)) >>> 0;
    }
  }

  u32(): number {
    const s = this.state;
    const result = Math.imul(rotl(Math.imul(s[1]!, 5), 7), 9) >>> 0;
    const t = s[1]! << 9;
    s[2]! ^= s[0]!;
    s[3]! ^= s[1]!;
    s[1]! ^= s[2]!;
    s[0]! ^= s[3]!;
    s[2]! ^= t;
    s[3] = rotl(s[3]!, 11);
    return result;
  }

  below(bound: number): number {
    return Math.floor((this.u32() / 4294967296) * bound);
  }

  /** True with the given probability. */
  chance(probability: number): boolean {
    return this.u32() / 4294967296 < probability;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }

  bytes(count: number): Buffer {
    const out = Buffer.allocUnsafe(count);
    for (let i = 0; i < count; i++) out[i] = this.u32() & 0xff;
    return out;
  }
}

function rotl(x: number, k: number): number {
  return (x << k) | (x >>> (32 - k));
}
