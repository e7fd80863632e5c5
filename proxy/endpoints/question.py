"""A client's request on its way to Bedrock: completed, translated, and translated again if refused.

A ``Question`` uses everything known: reasoning that the client did not send back comes from the
memory, and facts learned from earlier refusals are applied to the model's traits. If Bedrock still
refuses it for a capability, ``reword`` translates it again with the fact just learned; before that
is sent, a comparison makes sure that nothing the operator or the client needs was lost. A fact is
stored for the model once the reworded request got further.

Several choices of one request share a question: the first one that is refused rewords it for all.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, cast

import orjson

from proxy.bedrock.credentials import Authorizer
from proxy.bedrock.learned import Learned
from proxy.bedrock.upstream import Call
from proxy.catalog.model import Model
from proxy.catalog.repairs import (
    Repair,
    find_repair,
    for_the_request,
    keeps_what_matters,
    refused_media,
    with_changes,
)
from proxy.dialect import Dialect, Keepsake, Options, Request, Translation
from proxy.errors import ProxyError
from proxy.memory.store import Memory

Bodies = tuple[bytes, ...]

OFF_LOOP: Final = 400_000
"""Bodies above this many bytes are parsed and translated in a thread, so that streams go on. Below
it the work is about a millisecond, and the way there and back would cost a quarter of that."""


@dataclass(frozen=True, slots=True)
class TranslationContext:
    """What a translation depends on. ``learned`` and ``memory`` are shared by all requests.

    ``repaired`` is called with the name of each repair and whether it has just been learned.
    """

    options: Options
    learned: Learned
    memory: Memory
    repaired: Callable[[str, bool], None] = lambda name, learned: None


class Question:
    """``await put()`` first. ``label`` is the metrics' name of the model, ``tenant`` the owner of
    the memory; ``large`` requests are translated in a thread; ``authorizer`` signs the calls, if
    it is not the proxy's."""

    def __init__(
        self,
        dialect: Dialect,
        request: Request,
        model: Model,
        context: TranslationContext,
        *,
        tenant: str = "",
        label: str = "",
        large: bool = False,
        authorizer: Authorizer | None = None,
    ) -> None:
        self.model = model
        self._request = request
        self._dialect = dialect
        self._context = context
        self._owner = f"{tenant}\0{model.traits.family}"
        self._label = label
        self._large = large
        self._authorizer = authorizer
        self._repairs: dict[str, None] = {}
        self._unproven: list[Repair] = []
        self._recalled: tuple[str, ...] = ()
        self._told: tuple[str, ...] = ()
        self._turn = asyncio.Lock()
        self.translation: Translation
        self.calls: tuple[Call, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        repaired = (f"{name}:repaired" for name in self._repairs)
        return tuple(dict.fromkeys((*self.translation.notes, *self._told, *repaired)))

    async def put(self) -> None:
        """Raises ``ProxyError`` 400 for what cannot be translated."""
        await self._recollect()
        lessons = self._context.learned.of(self.model.id, self.model.region)
        if not lessons.names:
            self._take(*await self._translated(self.model))
            return
        wiser = replace(self.model, traits=with_changes(self.model.traits, lessons.changes))
        translation, bodies = await self._translated(wiser)
        if await self._differs(translation, bodies):
            self._repairs.update(dict.fromkeys(lessons.names))
            for name in lessons.names:
                self._context.repaired(name, False)
        self.model = wiser
        self._take(translation, bodies)

    def call_for(self, choice: int, again: bool) -> Call:
        """The call to make; ``again`` after an unusable answer."""
        call = self.calls[choice if self.translation.bodies else 0]
        if not again or self.translation.again is None:
            return call
        return replace(call, body=orjson.dumps(self.translation.again))

    async def reword(
        self, error: ProxyError, refused: Call, choice: int, again: bool
    ) -> Call | None:
        """Another call that avoids what was refused; ``None``: the error stands.

        Raises ``ProxyError`` 400 where strict mode forbids the repair.
        """
        async with self._turn:
            return await self._reworded(error, refused, choice, again)

    async def _reworded(
        self, error: ProxyError, refused: Call, choice: int, again: bool
    ) -> Call | None:
        known = self.call_for(choice, again)
        if (known.body, known.operation) != (refused.body, refused.operation):
            return known  # another choice was refused before and has already reworded it
        repair = find_repair(error.status, error.message, self.model.traits)
        if repair is None:
            self._locate(error)
            return None
        repair = for_the_request(repair, self.translation.body)
        wiser = replace(self.model, traits=with_changes(self.model.traits, repair.changes))
        translation, bodies = await self._translated(wiser)
        said = (tuple(call.body for call in self.calls), self.calls[0].operation)
        if said == (bodies, translation.operation) or not _keeps(self.translation, translation):
            return None
        self._prove()  # the previous repair got further
        self._unproven.append(repair)
        self._repairs[repair.name] = None
        self._context.repaired(repair.name, True)
        self.model = wiser
        self._take(translation, bodies)
        return self.call_for(choice, again)

    def _locate(self, error: ProxyError) -> None:
        """Name the part that the model does not take; Bedrock tells only its kind."""
        kind = refused_media(error.status, error.message)
        if kind is not None:
            error.param = error.param or self._dialect.locate(self._request, kind)

    async def opened(self) -> None:
        """An answer has begun: this wording was accepted."""
        if not self._unproven:
            return
        stale = any(repair.name == "reasoning_replay" for repair in self._unproven)
        self._prove()
        if stale and self._recalled:
            recalled, self._recalled = self._recalled, ()
            await self._context.memory.forget(self._owner, recalled)

    async def keep(self, keepsake: Keepsake) -> None:
        await self._context.memory.keep(self._owner, keepsake.key, keepsake.value)

    def release(self) -> None:
        """The answer has begun and cannot be asked for again: forget what was sent, which a long
        conversation would hold in memory three times over for as long as the answer takes."""
        if self.translation.choices == 1:
            del self._request
            self.calls = ()
            for said in (self.translation.body, self.translation.again):
                if said is not None:
                    cast("dict[str, Any]", said).clear()

    async def _recollect(self) -> None:
        lacking = await self._run(self._dialect.lacking, self._request, self.model)
        if not lacking:
            return
        found: Mapping[str, bytes] = await self._context.memory.recall(self._owner, lacking)
        if found:
            self._recalled = tuple(found)
            self._told = ("reasoning:restored",)
            self._request = await self._run(
                self._dialect.restored, self._request, self.model, found
            )
        if len(found) < len(lacking):
            self._told += ("reasoning:missing",)

    async def _translated(self, model: Model) -> tuple[Translation, Bodies]:
        work = (self._dialect, self._request, model, self._context.options)
        told: tuple[Translation, Bodies] = await self._run(_translate, *work)
        return told

    async def _differs(self, translation: Translation, bodies: Bodies) -> bool:
        """Whether the learned facts make a difference to this request."""
        try:
            plain, other = await self._translated(self.model)
        except ProxyError:
            return True
        return (other, plain.operation) != (bodies, translation.operation)

    async def _run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        if self._large:
            return await asyncio.to_thread(function, *arguments)
        return function(*arguments)

    def _take(self, translation: Translation, bodies: Bodies) -> None:
        model = self.model
        self.translation = translation
        self.calls = tuple(
            Call(
                translation.operation,
                model.id,
                body,
                self._label,
                model.region,
                model.elsewhere,
                self._authorizer,
                translation.headers,
            )
            for body in bodies
        )

    def _prove(self) -> None:
        for repair in self._unproven:
            if repair.lasting:
                self._context.learned.learn(self.model.id, self.model.region, repair)
        self._unproven.clear()


def _translate(
    dialect: Dialect, request: Request, model: Model, options: Options
) -> tuple[Translation, Bodies]:
    translation = dialect.translate(request, model, options)
    if options.usage_cost:
        translation = replace(translation, price=price_of(model))
    return translation, tuple(map(orjson.dumps, _bodies(translation)))


def price_of(model: Model) -> Mapping[str, float] | None:
    """USD per million tokens, where the operator wrote them down."""
    cost = model.details.get("cost")
    return cost if isinstance(cost, Mapping) else None


def _bodies(translation: Translation) -> Sequence[Mapping[str, Any]]:
    return translation.bodies or (cast("Mapping[str, Any]", translation.body),)


def _keeps(before: Translation, after: Translation) -> bool:
    """Whether nothing is lost that the operator or the caller must not lose."""
    return all(map(keeps_what_matters, _bodies(before), _bodies(after)))
