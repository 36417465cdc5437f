/** A coloured disc with an initial; the colour follows the user, not the name. */
export function Avatar({ user, name }: { user: string; name: string }) {
  return (
    <span className="avatar" style={{ '--hue': hue(user) } as React.CSSProperties} aria-hidden="true">
      {Array.from(name)[0]?.toUpperCase() ?? '?'}
    </span>
  )
}

export function hue(user: string): number {
  let h = 0
  for (const c of user) h = (h * 31 + c.codePointAt(0)!) >>> 0
  return (h % 24) * 15
}
