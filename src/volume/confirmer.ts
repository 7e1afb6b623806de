import type { Clock } from '../base/clock.js';

const CONFIRM_RETRY_MS = 50;

export interface ConfirmerOptions {
  readonly clock: Clock;
  /**
   * Tells a node that this gateway has the answers to these changes of a volume (by line). Rejects when that did not
   * arrive.
   */
  readonly send: (nodeId: string, line: string, ids: readonly bigint[]) => Promise<void>;
  /** False: the node is gone, and what it kept for this gateway with it. */
  readonly isPresent: (nodeId: string) => boolean;
}

interface Owed {
  readonly nodeId: string;
  readonly line: string;
  readonly ids: readonly bigint[];
}

/**
 * Numbers the changes that this gateway asks other gateways for, and confirms their answers (see forwarded.ts). A
 * change keeps its number however often it is asked for.
 */
export class Confirmer {
  private next = 1n;
  /** Nodes that were asked for a change that has no outcome yet. */
  private readonly asked = new Map<bigint, { line: string; nodes: Set<string> }>();
  /** By node and line. */
  private readonly owed = new Map<string, Owed>();
  private scheduled = false;
  stopped = false;

  constructor(private readonly options: ConfirmerOptions) {}

  begin(): bigint {
    return this.next++;
  }

  /** The change is asked of this node. */
  ask(id: bigint, line: string, nodeId: string): void {
    const known = this.asked.get(id);
    if (known === undefined) this.asked.set(id, { line, nodes: new Set([nodeId]) });
    else known.nodes.add(nodeId);
  }

  /** The change has an outcome. */
  end(id: bigint): void {
    const known = this.asked.get(id);
    if (known === undefined) return;
    this.asked.delete(id);
    for (const nodeId of known.nodes) this.owe({ nodeId, line: known.line, ids: [id] });
    this.schedule();
  }

  private owe({ nodeId, line, ids }: Owed): void {
    const key = `${nodeId}/${line}`;
    this.owed.set(key, { nodeId, line, ids: [...(this.owed.get(key)?.ids ?? []), ...ids] });
  }

  private schedule(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    this.options.clock.defer(() => this.confirmAll());
  }

  private confirmAll(): void {
    this.scheduled = false;
    const all = [...this.owed.values()];
    this.owed.clear();
    for (const owed of all) void this.confirm(owed);
  }

  private async confirm(owed: Owed): Promise<void> {
    if (this.stopped || !this.options.isPresent(owed.nodeId)) return;
    try {
      await this.options.send(owed.nodeId, owed.line, owed.ids);
    } catch {
      // The link broke: once more, as long as the node is there.
      this.owe(owed);
      this.options.clock.after(CONFIRM_RETRY_MS, () => this.confirmAll());
    }
  }
}
