import { AppError } from '../base/errors.js';
import type { Context } from './context.js';
import { Exit, exitCodes } from './exit.js';

/**
 * Who is making a checkpoint of a volume: an attribute of the volume, which its maker renews. Nobody's clock is asked:
 * a claim is dead when it has not changed for a while that the asker has measured. A maker that slept for longer finds
 * out, before its checkpoint appears, that it holds the claim no more; in the moment between the two it may still
 * appear, and is then shown as broken.
 */
const KEY = 'checkpoint';
const BEAT_MS = 2_000;
/** Without a change for so long it is dead: several beats, for a machine that is busy. */
export const CLAIM_DEAD_MS = 10_000;
const LOOK_MS = 500;

interface Claim {
  readonly id: string;
  readonly beat: number;
}

export class CheckpointClaim {
  private beat = 0;
  private timer: NodeJS.Timeout | undefined;

  private constructor(
    private readonly context: Context,
    private readonly volumes: readonly string[],
    private readonly id: string,
  ) {}

  /** Claims volumes for the run `id`. Rejects with Exit 'exists' when another run that lives has one of them. */
  static async take(context: Context, volumes: readonly string[], id: string): Promise<CheckpointClaim> {
    const claim = new CheckpointClaim(context, volumes, id);
    try {
      for (const volume of volumes) await claim.takeOne(volume);
    } catch (error) {
      await claim.drop();
      throw error;
    }
    claim.timer = setInterval(() => void claim.renew().catch(() => {}), BEAT_MS);
    claim.timer.unref();
    return claim;
  }

  async isHeld(): Promise<boolean> {
    const claims = await Promise.all(this.volumes.map((volume) => readClaim(this.context, volume)));
    return claims.every((claim) => claim?.id === this.id);
  }

  /** Never rejects: a claim that stays is dead in a while. */
  async drop(): Promise<void> {
    clearInterval(this.timer);
    for (const volume of this.volumes) await dropClaim(this.context, volume, this.id).catch(() => {});
  }

  private async takeOne(volume: string): Promise<void> {
    const value = encode({ id: this.id, beat: 0 });
    const set = () =>
      this.context.call('vdi.setattr', { name: volume, key: KEY, mode: 'exclusive', value }).then(
        () => true,
        (error: unknown) => {
          if (!AppError.isCode(error, 'exists')) throw error;
          return false;
        },
      );
    if (await set()) return;
    const other = await readClaim(this.context, volume);
    if (other !== undefined && !(await isAlive(this.context, volume, other.id))) {
      await dropClaim(this.context, volume, other.id);
    }
    if (await set()) return;
    throw new Exit(exitCodes.exists, `Another checkpoint of volume ${volume} is being made`);
  }

  /** What was taken from us is not taken back. */
  private async renew(): Promise<void> {
    if (!(await this.isHeld())) return clearInterval(this.timer);
    const value = encode({ id: this.id, beat: ++this.beat });
    await Promise.all(
      this.volumes.map((name) => this.context.call('vdi.setattr', { name, key: KEY, mode: 'set', value })),
    );
  }
}

/** Whether the run `id` still has the volume; `deadMs` is what it takes to find out that it is dead. */
export async function isAlive(
  context: Context,
  volume: string,
  id: string,
  deadMs = CLAIM_DEAD_MS,
): Promise<boolean> {
  const endMs = performance.now() + deadMs;
  const first = await readClaim(context, volume);
  for (let now = first; now?.id === id; now = await readClaim(context, volume)) {
    if (now.beat !== first!.beat) return true;
    if (performance.now() > endMs) return false;
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
  return false;
}

/** Removes the claim of that run and of no other. */
export async function dropClaim(context: Context, volume: string, id: string): Promise<void> {
  if ((await readClaim(context, volume))?.id !== id) return;
  await context.call('vdi.setattr', { name: volume, key: KEY, mode: 'delete' }).catch((error: unknown) => {
    if (!AppError.isCode(error, 'missing', 'no-vdi')) throw error;
  });
}

async function readClaim(context: Context, volume: string): Promise<Claim | undefined> {
  try {
    const { value } = await context.call('vdi.getattr', { name: volume, key: KEY });
    const { id, beat } = Object(JSON.parse(Buffer.from(value, 'base64').toString())) as Claim;
    return { id, beat };
  } catch (error) {
    // What is no claim of ours can be nobody's.
    if (error instanceof SyntaxError) return { id: '', beat: 0 };
    if (AppError.isCode(error, 'missing', 'no-vdi')) return undefined;
    throw error;
  }
}

function encode(claim: Claim): string {
  return Buffer.from(JSON.stringify(claim)).toString('base64');
}
