"""The whole design space in a page: fronts, limits, decisions and architectures, live in the browser.

``hwgpt-gym explore`` serves it, ``hwgpt-gym explore --export`` writes the fronts as a page that needs no server. What
is shown is worked out by plain Python (:mod:`~hwgpt_gym.explorer.model` and its neighbours) from one value, the
:class:`~hwgpt_gym.explorer.state.State` that the page's address holds; :mod:`~hwgpt_gym.explorer.page` and
:mod:`~hwgpt_gym.explorer.app` alone know Dash, which is the extra ``explore``.
"""
