import type { EventSource } from '@mycelium/interface'

/** An event target whose event names and `detail` types are known. */
export class TypedTarget<Events extends object> implements EventSource<Events> {
  readonly #target: EventTarget = new EventTarget()

  addEventListener<Type extends keyof Events & string>(
    type: Type,
    listener: (event: { readonly detail: Events[Type] }) => void,
    options?: { readonly once?: boolean; readonly signal?: AbortSignal },
  ): void {
    // What is dispatched under a type has the detail of that type: see `emit`.
    this.#target.addEventListener(type, listener as unknown as (event: Event) => void, options)
  }

  /** Only the owner emits: a caller cannot forge an event. */
  protected emit<Type extends keyof Events & string>(type: Type, detail: Events[Type]): void {
    this.#target.dispatchEvent(new CustomEvent(type, { detail }))
  }
}
